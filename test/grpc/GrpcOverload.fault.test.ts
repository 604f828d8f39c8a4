import { suite } from "../faults/suite.ts"
import scenarios from "./GrpcOverload.faults.ts"

suite(scenarios)
