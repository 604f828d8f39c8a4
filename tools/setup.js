// Installs the dependencies when they are not those of package-lock.json; costs some milliseconds otherwise. Plain
// JavaScript on Node's own modules: it runs before anything is installed, on whatever Node the machine has.
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = new URL("../", import.meta.url)

const packagesOf = (path) => JSON.parse(readFileSync(new URL(path, root), "utf8")).packages

/** Whether what npm wrote down as installed is what the lock asks for. Others' platforms may be left out. */
const isInstalled = () => {
  let installed
  try {
    installed = packagesOf("node_modules/.package-lock.json")
  } catch {
    return false
  }
  return Object.entries(packagesOf("package-lock.json")).every(([path, wanted]) => {
    if (path === "") return true
    const found = installed[path]
    return found === undefined
      ? wanted.optional === true || wanted.peer === true
      : found.version === wanted.version && found.integrity === wanted.integrity
  })
}

if (!isInstalled()) {
  console.error("xdooria: installing the dependencies of package-lock.json ...")
  const npm = process.env.npm_execpath
  const args = ["ci", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]
  const { status, stdout, stderr } = spawnSync(
    npm === undefined ? "npm" : process.execPath,
    npm === undefined ? args : [npm, ...args],
    { cwd: fileURLToPath(root), encoding: "utf8", shell: npm === undefined && process.platform === "win32" }
  )
  if (status !== 0) {
    console.error(`${stdout ?? ""}${stderr ?? ""}\nxdooria: npm ci failed; see above`)
    process.exit(1)
  }
}
