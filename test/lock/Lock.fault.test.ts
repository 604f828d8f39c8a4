import { suite } from "../faults/suite.ts"
import scenarios from "./Lock.faults.ts"

suite(scenarios)
