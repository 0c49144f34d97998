import { inside, Lab, pings, until } from './lab.ts'

const lab = await Lab.create(['h1', 'h2'])
try {
  const one = await lab.start('h1'),
    two = await lab.start('h2')
  await until('reg', () => lab.brains.hosts.size === 2)
  const blue = lab.brains.network({ id: 'blue', kind: 'overlay', vni: 4097 })
  const a = await lab.attach(one, blue, 'ep-a', ['10.1.0.2/24', 'fd00:1::2/64'])
  const b = await lab.attach(two, blue, 'ep-b', ['10.1.0.3/24', 'fd00:1::3/64'])
  await new Promise((r) => setTimeout(r, 500))
  for (const [h, e] of [
    [one, a],
    [two, b],
  ] as const) {
    console.log(inside(h.fabric, 'ip', '-d', 'link'))
    console.log(inside(h.fabric, 'bridge', 'fdb'))
    console.log(inside(h.fabric, 'ip', 'neigh'))
    console.log(inside(h.lab.path, 'nft', 'list', 'table', 'inet', 'heddle-vxlan'))
    console.log(inside(e.sandbox, 'ip', 'addr'), inside(e.sandbox, 'ip', 'route'))
  }
  console.log(pings(a.sandbox, '10.1.0.3'))
  console.log(inside(one.fabric, 'ip', '-s', 'link'))
  console.log(inside(two.fabric, 'ip', '-s', 'link'))
  console.log(inside(two.lab.path, 'nft', 'list', 'table', 'inet', 'heddle-vxlan'))
  console.log(inside(a.sandbox, 'ip', 'neigh'))
} finally {
  await lab.close()
  process.exit()
}
