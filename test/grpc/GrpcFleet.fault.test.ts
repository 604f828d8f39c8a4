import { suite } from "../faults/suite.ts"
import scenarios from "./GrpcFleet.faults.ts"

suite(scenarios)
