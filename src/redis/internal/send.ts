import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { Command as DriverCommand } from "ioredis"
import * as Channel from "../Channel.ts"
import type * as Command from "../Command.ts"
import * as Key from "../Key.ts"
import { type NoScript, RedisFailure } from "../RedisError.ts"
import { classify } from "./classify.ts"
import type { Client } from "./client.ts"

const argsOf = (command: Command.Any, prefix: string): Array<string | number | Buffer> =>
  command.args.map((argument) =>
    Channel.isChannel(argument)
      ? Channel.render(argument, prefix)
      : Key.isKey(argument)
        ? Key.render(argument, prefix)
        : argument instanceof Uint8Array
          ? Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength)
          : argument
  )

const reply = (
  client: Client,
  command: Command.Any,
  name: string,
  args: ReadonlyArray<string | number | Buffer>
): Effect.Effect<Command.Reply, RedisFailure> =>
  Effect.callback((resume) => {
    let wasSent = false
    const sent = new DriverCommand(name, [...args], { replyEncoding: "utf8" }, (error, value) =>
      resume(
        error === null || error === undefined
          ? Effect.succeed(value as Command.Reply)
          : Effect.fail(
              new RedisFailure({
                reason: classify(error, { wasSent, isIdempotent: command.isIdempotent }),
                command: command.name
              })
            )
      )
    )
    client.sendCommand(sent)
    // A command that settles before the call returns was refused before it was written.
    wasSent = !sent.isSettled
  })

const isNoScript = (error: RedisFailure): error is RedisFailure & { readonly reason: NoScript } =>
  error.reason._tag === "NoScript"

/** Sends an operation once; a script by its hash, and with its text to a node that does not have it. */
export const send = <A>(client: Client, command: Command.Any<A>, prefix: string): Effect.Effect<A, RedisFailure> => {
  const { script } = command
  const args = argsOf(command, prefix)
  const answer =
    script === undefined
      ? reply(client, command, command.name, args)
      : reply(client, command, "EVALSHA", [script.sha, script.keys, ...args]).pipe(
          Effect.catchIf(isNoScript, () => reply(client, command, "EVAL", [script.lua, script.keys, ...args]))
        )
  return Effect.flatMap(answer, (value) => {
    const decoded = command.decode(value)
    return Result.isSuccess(decoded)
      ? Effect.succeed(decoded.success)
      : Effect.fail(new RedisFailure({ reason: decoded.failure, command: command.name }))
  })
}
