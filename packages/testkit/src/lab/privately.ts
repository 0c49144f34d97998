/**
 * A command line that runs a container engine with mounts of its own: an empty /run, and empty /etc/cni/net.d and
 * /opt/cni/bin where asked for, so that the machine's own engines and files are neither seen nor touched.
 */

export interface PrivateMounts {
  /** Source directory by the path it appears at; paths below /run, /etc and /opt may be missing on the machine. */
  readonly binds: Readonly<Record<string, string>>
  /** A mount that is shared (mount_namespaces(7)) and stays so: what the engine mounts in it is seen outside. */
  readonly shared?: string
}

// Made private one by one: a mount that has left its peers cannot come back to them.
const script = `
set -e
if [ -n "$SHARED" ]; then
  for path in $(cut -d ' ' -f 5 /proc/self/mountinfo); do
    # One that is not there any more went with its peer.
    [ "$path" = "$SHARED" ] || mount --make-private "$path" 2>/dev/null || :
  done
  ! grep ' shared:' /proc/self/mountinfo | cut -d ' ' -f 5 | grep -vxF "$SHARED"
fi
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
    ...['unshare', '--mount', '--propagation', mounts.shared === undefined ? 'private' : 'unchanged'],
    ...['env', `OVERLAID=${overlaid.join(' ')}`, `SHARED=${mounts.shared ?? ''}`],
    ...['sh', '-c', script, 'privately', ...pairs, '--', ...command],
  ]
}
