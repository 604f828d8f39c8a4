import * as Option from "effect/Option"
import type { ConfigSection } from "./Config.ts"
import { type Leaf, leavesOf, textsOf } from "./internal/leaf.ts"

/** The text of config/README.md: every key of the given sections with its type, its default and its meaning. */
export const describeSections = (sections: ReadonlyArray<ConfigSection<unknown>>): string =>
  [intro, ...sections.map(describeSection)].join("\n\n") + "\n"

const intro = `# Configuration

Every key of \`config/<env>/<service>.yaml\`. This page is generated from the sections of the rooms
([how a section is declared](../src/config/README.md)); a test compares the two.

A value comes from the first of: the environment variable of one service, such as \`XDOORIA_GAME__SERVER_PORT\` for
service \`game\` (its name, two underscores, the rest as below), the variable of all services of the process,
\`XDOORIA_<SECTION>_<KEY>\`, the YAML file, the default. An empty variable is not set, lists are written with commas. A
key without a default must be given. Texts that look like a number, \`true\`, \`false\` or \`null\` are written in quotes. \`npx xdooria config check --file config/dev/game.yaml\` tells all that
is wrong with a file.`

const describeSection = (section: ConfigSection<unknown>): string =>
  [
    `## ${section.key}`,
    "",
    "| key | type | default | variable | meaning |",
    "| --- | --- | --- | --- | --- |",
    ...leavesOf(section).map(describeLeaf)
  ].join("\n")

const describeLeaf = (leaf: Leaf): string => {
  const cells = [
    `\`${leaf.key}\``,
    leaf.secret ? `${leaf.kind.type}, secret` : leaf.kind.type,
    defaultOf(leaf),
    `\`${leaf.variable}\``,
    leaf.description
  ]
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`
}

const defaultOf = (leaf: Leaf): string =>
  Option.match(leaf.fallback, {
    onNone: () => (leaf.required ? "must be given" : "none"),
    onSome: (value) =>
      leaf.secret && textsOf(value).some((text) => text !== "") ? "a secret for dev" : `\`${JSON.stringify(value)}\``
  })
