import { suite } from "../faults/suite.ts"
import scenarios from "./Grpc.faults.ts"

suite(scenarios)
