// The room on a backend: checks what callers give, judges what is stored, and keeps the lists of the gateways.
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Claim, Drain, Login, Session, SessionData, SessionOptions } from "../Session.ts"
import { SessionError, type SessionErrorReason } from "../SessionError.ts"
import { checkDevice, checkDrain, checkLogin, checkName, instantOf, type Player, playerOf } from "./input.ts"
import { bannedUntil, type Claimed, deviceOf, digestOf, judge } from "./judge.ts"
import * as Kicks from "./kicks.ts"
import { memberOf, parse } from "./members.ts"
import type { Standing, Store } from "./store.ts"
import * as Value from "./value.ts"

const failed = (reason: SessionErrorReason) => new SessionError({ reason })

/** The player and the device of a session that a caller holds. */
const heldBy = ({ device, playerId }: SessionData): Result.Result<Player, SessionError> =>
  Result.flatMap(checkDevice(device), () => playerOf(playerId))

/** What a caller that holds a session knows of it. */
const claimOf = ({ epoch, gateway, token }: SessionData): Claimed =>
  epoch === 0 ? { epoch, token, gateway } : { epoch, gateway }

/** How long a batch of a drain takes, in milliseconds, at least. */
const drainMillis = 100

const isAbsent = ({ _tag }: SessionErrorReason): boolean => _tag !== "Unreadable"

/** The room; what listens to kicks ends when the scope closes. */
export const make = (store: Store, options: SessionOptions): Effect.Effect<Session["Service"], never, Scope.Scope> =>
  Effect.map(Kicks.make(store, options.sweepInterval), (kicks) => makeService(store, options, kicks))

const makeService = (store: Store, options: SessionOptions, kicks: Kicks.Kicks): Session["Service"] => {
  /** A Go service may name a gateway that is no name: it has no list. */
  const note = (gateway: string, member: string, standing: Standing) => {
    if (Result.isSuccess(checkName("gateway", gateway))) store.note(gateway, member, standing)
  }

  const judged = (player: Player, device: string | undefined, claim: Claimed) =>
    Effect.map(store.read(player, device), (reading) => judge(player.id, reading, store.floor(), claim))

  // `login`, `get` and `check` make no more effects than they must: they are what players wait for.
  const login = (login: Login): Effect.Effect<SessionData, SessionError> => {
    const checked = checkLogin(login, options)
    if (Result.isFailure(checked)) return Effect.fail(checked.failure)
    const { device, player, ttl } = checked.success
    const { gateway, token } = login
    return Effect.flatMap(DateTime.now, (loginTime) => {
      const value = Value.encode(player.id, { token, gateway, loginTime })
      const stored = { device, ttl, value, digest: digestOf(token), gateway }
      return Effect.flatMap(store.login(player, stored), ({ ban, epoch }) => {
        if (ban !== undefined) return Effect.fail(failed(bannedUntil(ban)))
        const session: SessionData = { playerId: player.id, device, epoch, token, gateway, loginTime }
        const member = memberOf(session)
        kicks.learn(gateway, member)
        store.note(gateway, member, "listed")
        return Effect.succeed(session)
      })
    })
  }

  const get = (playerId: string): Effect.Effect<SessionData | undefined, SessionError> => {
    const player = playerOf(playerId)
    if (Result.isFailure(player)) return Effect.fail(player.failure)
    return Effect.flatMap(store.read(player.success, undefined), (reading) => {
      const verdict = judge(playerId, reading, store.floor(), {})
      return Result.isFailure(verdict) && !isAbsent(verdict.failure)
        ? Effect.fail(failed(verdict.failure))
        : Effect.succeed(Result.getOrUndefined(verdict))
    })
  }

  const check = (
    playerId: string,
    token: Redacted.Redacted,
    { device, gateway }: Claim = {}
  ): Effect.Effect<SessionData, SessionError> => {
    const player = Result.flatMap(checkDevice(device ?? ""), () => playerOf(playerId))
    if (Result.isFailure(player)) return Effect.fail(player.failure)
    const claim = gateway === undefined ? { token } : { token, gateway }
    return Effect.flatMap(store.read(player.success, device), (reading): Effect.Effect<SessionData, SessionError> => {
      const verdict = judge(playerId, reading, store.floor(), claim)
      if (Result.isSuccess(verdict)) return Effect.succeed(verdict.success)
      // Not the newest session: the token may be that of another device.
      const other = device === undefined ? deviceOf(reading, token) : undefined
      return other === undefined || other === reading.device
        ? Effect.fail(failed(verdict.failure))
        : check(playerId, token, { ...claim, device: other })
    })
  }

  const touch = Effect.fnUntraced(function* (session: SessionData) {
    const player = yield* Effect.fromResult(heldBy(session))
    // What a Go service wrote has its beginning in the value, which only we can read: it is judged first.
    const isValid = session.epoch !== 0 && (yield* store.touch(player, session))
    if (!isValid) {
      const verdict = yield* judged(player, session.device, claimOf(session))
      if (Result.isFailure(verdict)) return yield* failed(verdict.failure)
      yield* store.touch(player, session)
    }
    yield* store.setOnline(player, true)
    const member = memberOf(session)
    kicks.learn(session.gateway, member)
    note(session.gateway, member, "online")
  })

  const ended = Effect.fnUntraced(function* (session: SessionData) {
    const player = yield* Effect.fromResult(heldBy(session))
    const remains = yield* store.logout(player, session)
    if (!remains) yield* store.setOnline(player, false)
  })

  const logout = (session: SessionData) =>
    Effect.suspend(() => {
      // What is published of it comes here too, and is no news.
      const member = memberOf(session)
      kicks.forget(session.gateway, member)
      return Effect.onExit(ended(session), (exit) =>
        Effect.sync(() =>
          exit._tag === "Success"
            ? note(session.gateway, member, "gone")
            : // It may go on: then the gateway is to hear of its end.
              kicks.doubt(session.gateway, member)
        )
      )
    })

  const list = (gateway: string): Stream.Stream<SessionData, SessionError> =>
    Stream.unwrap(
      Effect.map(Effect.fromResult(checkName("gateway", gateway)), () => {
        const seen = new Set<string>()
        return store.members(gateway).pipe(
          Stream.mapEffect((page) => {
            const fresh = page.filter((member) => !seen.has(member) && seen.add(member) !== undefined)
            const members = fresh.map((member) => parse(member, gateway)).filter((member) => member !== undefined)
            return Kicks.verify(store, members)
          }),
          Stream.map((verdicts) =>
            verdicts.flatMap((verdict) => (verdict !== undefined && Result.isSuccess(verdict) ? [verdict.success] : []))
          ),
          Stream.flattenIterable
        )
      })
    )

  const kick = Effect.fnUntraced(function* (playerId: string, device?: string) {
    const player = yield* Effect.fromResult(Result.flatMap(checkDevice(device ?? ""), () => playerOf(playerId)))
    const { ended, remains } = yield* store.end(player, { reason: "revoked", device, at: "" })
    if (!remains) yield* store.setOnline(player, false)
    return ended
  })

  const ban = Effect.fnUntraced(function* (playerId: string, until: DateTime.Utc | "forever") {
    const player = yield* Effect.fromResult(playerOf(playerId))
    const at = until === "forever" ? until : String(instantOf(until))
    yield* store.end(player, { reason: "banned", device: undefined, at })
    yield* store.setOnline(player, false)
  })

  const revoke = Effect.fnUntraced(function* (playerId: string, before: DateTime.Utc) {
    const player = yield* Effect.fromResult(playerOf(playerId))
    const ending = { reason: "revoked", device: undefined, at: String(instantOf(before)) } as const
    const { ended, remains } = yield* store.end(player, ending)
    if (!remains) yield* store.setOnline(player, false)
    return ended
  })

  const handOver = Effect.fnUntraced(function* (session: SessionData, to: string) {
    const player = yield* Effect.fromResult(heldBy(session))
    const moved = { ...session, gateway: to }
    const epoch = yield* store.move(player, session, to, Value.encode(player.id, moved))
    if (epoch === undefined) return
    const member = memberOf({ ...moved, epoch })
    kicks.learn(to, member)
    store.note(to, member, "listed")
  })

  const drain = (gateway: string, { perSecond, to }: Drain): Effect.Effect<number, SessionError> => {
    const size = Math.ceil((perSecond * drainMillis) / 1000)
    const one = (session: SessionData) => (to === undefined ? ended(session) : handOver(session, to))
    const batch = (sessions: ReadonlyArray<SessionData>) =>
      Effect.forEach(sessions, one, { concurrency: size, discard: true }).pipe(
        Effect.andThen(Effect.sleep(Duration.millis(Math.ceil((sessions.length * 1000) / perSecond)))),
        Effect.as(sessions.length)
      )
    return Effect.andThen(
      Effect.fromResult(checkDrain(gateway, { perSecond, ...(to === undefined ? {} : { to }) })),
      list(gateway).pipe(
        Stream.grouped(size),
        Stream.mapEffect(batch),
        Stream.runFold(
          () => 0,
          (sum, count) => sum + count
        )
      )
    )
  }

  return {
    login,
    get,
    check,
    touch,
    logout,
    presence: (playerId) => Effect.flatMap(Effect.fromResult(playerOf(playerId)), store.presence),
    countOnline: store.countOnline,
    list,
    kicks: (gateway) =>
      Stream.unwrap(Effect.map(Effect.fromResult(checkName("gateway", gateway)), () => kicks.stream(gateway))),
    kick,
    ban,
    unban: (playerId) => Effect.flatMap(Effect.fromResult(playerOf(playerId)), store.unban),
    revoke,
    revokeAll: (before) => store.raiseFloor(instantOf(before)),
    drain
  }
}
