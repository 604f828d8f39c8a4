#!/usr/bin/env node
// Plain JavaScript: Node runs no TypeScript under node_modules, so an installed package starts from dist.
import { existsSync } from "node:fs"

const source = new URL("../src/main.ts", import.meta.url)
await import(existsSync(source) ? source.href : new URL("../dist/main.js", import.meta.url).href)
