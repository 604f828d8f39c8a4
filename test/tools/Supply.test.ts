import { assert, describe, it } from "@effect/vitest"
import { complaints, type Sources } from "../../tools/supply.ts"

const manifest: Sources["manifest"] = {
  dependencies: { effect: "4.1.0" },
  devDependencies: { vitest: "5.1.1" },
  peerDependencies: {},
  engines: { node: ">=24.14.1" },
  allowScripts: { built: true }
}

const security = `# Security

## Reporting

## Supported versions

## Threat model

## Dependencies

| package  | why        |
| -------- | ---------- |
| \`effect\` | everything |

## Running it
`

const sound: Sources = {
  manifest,
  packages: {
    "": manifest as object,
    "node_modules/effect": { version: "4.1.0", license: "MIT" },
    "node_modules/both": { version: "1.0.0", license: "(Apache-2.0 AND BSD-3-Clause)" },
    "node_modules/vitest": { version: "5.1.1", license: "GPL-3.0", dev: true },
    "node_modules/built": { version: "1.0.0", license: "ISC", hasInstallScript: true }
  },
  security,
  tracked: ["package-lock.json"]
}

const withPackage = (path: string, entry: object): Sources => ({
  ...sound,
  packages: { ...sound.packages, [path]: entry }
})

describe("supply chain", () => {
  it("has nothing against what is sound", () => assert.deepStrictEqual(complaints(sound), []))

  const broken: Record<string, readonly [Sources, RegExp]> = {
    "a range": [
      { ...sound, manifest: { ...manifest, devDependencies: { vitest: "^5.1.1" } } },
      /vitest is "\^5\.1\.1".*not an exact version/
    ],
    "a lock of another package.json": [
      { ...sound, packages: { ...sound.packages, "": { ...manifest, dependencies: {} } as object } },
      /not of this package\.json/
    ],
    "a lock that is not committed": [{ ...sound, tracked: [] }, /not committed/],
    "a licence that is not on the list": [
      withPackage("node_modules/copyleft", { version: "1.0.0", license: "GPL-3.0" }),
      /copyleft has the licence GPL-3\.0/
    ],
    "no licence": [withPackage("node_modules/secret", { version: "1.0.0" }), /secret has the licence none/],
    "a version with a known hole, also deep in the tree": [
      withPackage("node_modules/a/node_modules/@grpc/grpc-js", { version: "1.9.15", license: "MIT" }),
      /@grpc\/grpc-js 1\.9\.15 has a known hole/
    ],
    "a dependency without a reason": [
      { ...sound, security: security.replace("`effect`", "`effects`") },
      /effect has no reason[^]*effects has a reason in SECURITY\.md and is no dependency/
    ],
    "an install script that nobody decided on": [
      withPackage("node_modules/miner", { version: "1.0.0", license: "MIT", hasInstallScript: true }),
      /miner has an install script/
    ],
    "a security page without a threat model": [
      { ...sound, security: security.replace("## Threat model", "") },
      /no heading "Threat model"/
    ],
    "a lower floor for Node": [
      { ...sound, manifest: { ...manifest, engines: { node: ">=20" } }, packages: { ...sound.packages } },
      /engines\.node must be >=24\.14\.1/
    ]
  }

  for (const [what, [sources, complaint]] of Object.entries(broken)) {
    it(`refuses ${what}`, () => assert.match(complaints(sources).join("\n"), complaint))
  }
})
