export { provideRedis } from "./provide.js";
export { startCluster, type RedisCluster } from "./cluster.js";
export { startProxy, type Cut, type RedisProxy } from "./proxy.js";
export { startRedis, type RedisOptions, type RedisServer } from "./server.js";
