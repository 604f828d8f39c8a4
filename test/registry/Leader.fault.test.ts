import { suite } from "../faults/suite.ts"
import scenarios from "./Leader.faults.ts"

suite(scenarios)
