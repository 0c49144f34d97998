/**
 * A command line that runs a container engine with mounts of its own: an empty /run, and empty /etc/cni/net.d and
 * /opt/cni/bin where asked for, so that the machine's own engines and files are neither seen nor touched.
 */

export interface PrivateMounts {
  /** Source directory by the path it appears at; paths below /run, /etc and /opt may be missing on the machine. */
  readonly binds: Readonly<Record<string, string>>
}

const script = `
set -e
mount -t tmpfs -o mode=755 heddle-run /run
for base in etc opt; do
  case " $OVERLAID " in *" $base "*)
    mkdir -p "/run/heddle-$base/upper" "/run/heddle-$base/work"
    mount -t overlay -o "lowerdir=/$base,upperdir=/run/heddle-$base/upper,workdir=/run/heddle-$base/work" overlay "/$base"
  esac
done
while [ "$1" != -- ]; do
  mkdir -p "$2"
  mount --bind "$1" "$2"
  shift 2
done
shift
exec "$@"
`

export function privately(mounts: PrivateMounts, command: readonly string[]): string[] {
  const targets = Object.keys(mounts.binds)
  const overlaid = ['etc', 'opt'].filter((base) => targets.some((target) => target.startsWith(`/${base}/`)))
  const pairs = Object.entries(mounts.binds).flatMap(([target, source]) => [source, target])
  return [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    'env',
    `OVERLAID=${overlaid.join(' ')}`,
    'sh',
    '-c',
    script,
    'privately',
    ...pairs,
    '--',
    ...command,
  ]
}
