// Every real server that the tests use. A new kind is one file beside this and its lines here.
import { etcd, etcdCluster, etcdNext } from "./etcd.ts"
import { goPeer } from "./peer.ts"
import { postgres } from "./postgres.ts"
import { redis, redisCluster, redisSentinel } from "./redis.ts"

export const servers = { postgres, redis, redisCluster, redisSentinel, etcd, etcdCluster, etcdNext, goPeer }
