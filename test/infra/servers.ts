// Every real server that the tests use. A new one is one file beside this and one line here.
import { postgres } from "./postgres.ts"

export const servers = { postgres }
