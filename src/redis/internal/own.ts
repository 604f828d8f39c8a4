// Which commands are for a connection that nobody else uses.
import type * as Command from "../Command.ts"

const words = (text: string): ReadonlySet<string> => new Set(text.split(" "))

/** Between some of these the connection treats other commands in another way. */
const transactional = words("MULTI EXEC DISCARD WATCH UNWATCH")

const blocking = words("WAIT WAITAOF BLPOP BRPOP BRPOPLPUSH BLMOVE BLMPOP BZPOPMIN BZPOPMAX BZMPOP")

const changing = words(
  "SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUNSUBSCRIBE MONITOR SELECT AUTH HELLO RESET QUIT ASKING " +
    "READONLY READWRITE SYNC PSYNC REPLCONF"
)

/** What of CLIENT changes nothing of the connection. */
const harmless = words("LIST INFO ID GETNAME KILL PAUSE UNPAUSE UNBLOCK GETREDIR TRACKINGINFO HELP")

const wordOf = (argument: Command.Argument | undefined): string =>
  typeof argument === "string"
    ? argument.toUpperCase()
    : argument instanceof Uint8Array
      ? Buffer.from(argument).toString().toUpperCase()
      : ""

/** Whether a reading of streams waits: the names of a group and its consumer stand before, and those of keys after. */
const hasBlock = ({ args, name }: Command.Any): boolean => {
  const options = args.slice(name === "XREADGROUP" ? 3 : 0).map(wordOf)
  return options.slice(0, options.indexOf("STREAMS") + 1).includes("BLOCK")
}

const blocks = (command: Command.Any): boolean =>
  blocking.has(command.name) || ((command.name === "XREAD" || command.name === "XREADGROUP") && hasBlock(command))

/** Whether it changes what the connection does with the commands after it, for good. */
export const changes = ({ args, name, script }: Command.Any): boolean =>
  script === undefined &&
  (changing.has(name) ||
    (name === "CLIENT" && !harmless.has(wordOf(args[0]))) ||
    (name === "SCRIPT" && wordOf(args[0]) === "DEBUG"))

/** Whether it blocks the connection, or changes what it does with the commands after it. */
export const needsOwn = (command: Command.Any): boolean =>
  command.blockMillis !== undefined ||
  changes(command) ||
  (command.script === undefined && (transactional.has(command.name) || blocks(command)))
