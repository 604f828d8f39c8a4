import { suite } from "../faults/suite.ts"
import scenarios from "./GrpcCancel.faults.ts"

suite(scenarios)
