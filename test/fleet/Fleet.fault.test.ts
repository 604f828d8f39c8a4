import { suite } from "../faults/suite.ts"
import scenarios from "./Fleet.faults.ts"

suite(scenarios)
