import { suite } from "../faults/suite.ts"
import scenarios from "./Session.faults.ts"

suite(scenarios)
