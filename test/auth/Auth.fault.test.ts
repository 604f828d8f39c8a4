import { suite } from "../faults/suite.ts"
import scenarios from "./Auth.faults.ts"

suite(scenarios)
