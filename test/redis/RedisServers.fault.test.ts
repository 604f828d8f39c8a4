import { suite } from "../faults/suite.ts"
import scenarios from "./RedisServers.faults.ts"

suite(scenarios)
