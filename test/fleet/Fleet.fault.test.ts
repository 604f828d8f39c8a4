import { suite } from "../faults/suite.ts"
import demos from "./Demo.faults.ts"
import scenarios from "./Fleet.faults.ts"

suite([...scenarios, ...demos])
