import { suite } from "../faults/suite.ts"
import scenarios from "./Pg.faults.ts"

suite(scenarios)
