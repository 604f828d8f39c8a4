import { suite } from "../faults/suite.ts"
import scenarios from "./Redis.faults.ts"

suite(scenarios)
