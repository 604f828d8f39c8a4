import { suite } from "../faults/suite.ts"
import game from "./Game.faults.ts"
import serve from "./Serve.faults.ts"

suite([...serve, ...game])
