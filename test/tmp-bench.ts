import { benchIpamClaims } from './bench/ipam-claims.ts'

console.log(await benchIpamClaims())
