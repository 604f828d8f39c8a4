import { suite } from "../faults/suite.ts"
import scenarios from "./Registry.faults.ts"

suite(scenarios)
