import { suite } from "../faults/suite.ts"
import scenarios from "./Leaderboard.faults.ts"

suite(scenarios)
