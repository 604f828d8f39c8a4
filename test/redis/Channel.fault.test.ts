import { suite } from "../faults/suite.ts"
import scenarios from "./Channel.faults.ts"

suite(scenarios)
