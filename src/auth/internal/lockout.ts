// Counts failed logins of accounts and from addresses. Names are stored as digests: an account's may be an e-mail address.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { hash, randomBytes } from "node:crypto"
import { isIPv4, isIPv6 } from "node:net"
import type { AuthSettings } from "../Auth.ts"
import { AuthError, LockedOut } from "../AuthError.ts"
import type { Attempt, Lockout, Reservation } from "../Lockout.ts"
import type { Outcome, Place, Store } from "./store.ts"

/** What failures are counted of. */
export interface Name {
  readonly of: "account" | "address"
  readonly digest: string
}

/** After how many failures it is locked, and for how long they count and it is. */
export interface Limit {
  readonly most: number
  readonly windowMillis: number
}

/** The limits that are configured. */
export const limitsOf = (settings: AuthSettings): Readonly<Record<Name["of"], Limit>> => ({
  account: { most: settings.lockoutAccount, windowMillis: Duration.toMillis(settings.lockoutAccountWindow) },
  address: { most: settings.lockoutAddress, windowMillis: Duration.toMillis(settings.lockoutAddressWindow) }
})

/** Groups of an IPv6 address, of which the last two may be written as an IPv4 address. */
const readGroups = (text = ""): ReadonlyArray<number> =>
  text === ""
    ? []
    : text.split(":").flatMap((group) => {
        if (!isIPv4(group)) return [Number.parseInt(group, 16)]
        const bytes = Buffer.from(group.split(".").map(Number))
        return [bytes.readUInt16BE(0), bytes.readUInt16BE(2)]
      })

/** The eight groups of an IPv6 address, of which `::` leaves some out. */
const groupsOf = (address: string): ReadonlyArray<number> => {
  const [head, tail] = address.split("::")
  const [before, after] = [readGroups(head), readGroups(tail)]
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after]
}

/** What comes before an IPv4 address: mapped (RFC 4291), and by a gateway of NAT64 (RFC 6052). */
const prefixesOfIPv4 = ["0,0,0,0,0,65535", "100,65435,0,0,0,0"]

/** What of an address counts: whoever has an IPv6 address has all of its /64, and one that stands for IPv4 is that. */
export const networkOf = (address: string): string => {
  const bare = address.replace(/%.*$/, "").toLowerCase()
  if (!isIPv6(bare)) return bare
  const groups = groupsOf(bare)
  return prefixesOfIPv4.includes(groups.slice(0, 6).join())
    ? groups
        .slice(6)
        .flatMap((group) => [group >> 8, group & 255])
        .join(".")
    : groups
        .slice(0, 4)
        .map((group) => group.toString(16))
        .join(":")
}

const nameOf = (of: Name["of"], text: string): Name => ({ of, digest: hash("sha256", text, "base64url") })

/** How long who finds all places taken waits for one, each time and all in all. */
const turns = { leastMillis: 25, mostMillis: 75, most: 100 }

/** When to come again whose turn has not come. */
const busyMillis = 1_000

const lockedMillisOf = (place: Place): number => (place._tag === "Locked" ? place.leftMillis : 0)

/** The service on a store. A limit of 0 asks nobody. */
export const make = (store: Store, settings: AuthSettings): Lockout["Service"] => {
  const limits = limitsOf(settings)
  const namesOf = ({ account, address }: Attempt): ReadonlyArray<Name> =>
    [nameOf("account", account), nameOf("address", networkOf(address))].filter(({ of }) => limits[of].most > 0)

  const settle = (reservation: Reservation, outcomeOf: (of: Name["of"]) => Outcome): Effect.Effect<void, AuthError> => {
    const names = namesOf(reservation)
    return names.length === 0
      ? Effect.void
      : store.settle(
          names.map((name) => [name, outcomeOf(name.of)]),
          reservation.id
        )
  }

  /** Takes a place of each name, or of none; gives what stands in the way, and what does so for longest. */
  const take = Effect.fnUntraced(function* (names: ReadonlyArray<Name>, id: string) {
    const withdraw = (some: ReadonlyArray<Name>) =>
      some.length === 0
        ? Effect.void
        : store.settle(
            some.map((name) => [name, "withdrawn"]),
            id
          )
    // Some may have been taken, of keys that are on another server.
    const reserved = yield* Effect.tapError(store.reserve(names, id), () => Effect.ignore(withdraw(names)))
    const places = reserved.map((place, index) => ({ name: names[index]!, place }))
    const [refusal] = places
      .filter(({ place }) => place._tag !== "Taken")
      .toSorted((one, other) => lockedMillisOf(other.place) - lockedMillisOf(one.place))
    if (refusal === undefined) return undefined
    yield* withdraw(places.flatMap(({ name, place }) => (place._tag === "Taken" ? [name] : [])))
    return { of: refusal.name.of, lockedMillis: lockedMillisOf(refusal.place) }
  }, Effect.uninterruptible)

  return {
    check: Effect.fnUntraced(function* (attempt) {
      const id = randomBytes(16).toString("base64url")
      const names = namesOf(attempt)
      for (let turn = 1; names.length > 0; turn++) {
        const refusal = yield* take(names, id)
        if (refusal === undefined) break
        const { lockedMillis, of } = refusal
        if (lockedMillis > 0 || turn === turns.most) {
          return yield* new AuthError({ reason: new LockedOut({ of, retryAfterMillis: lockedMillis || busyMillis }) })
        }
        const millis = yield* Random.nextIntBetween(turns.leastMillis, turns.mostMillis)
        yield* Effect.interruptible(Effect.sleep(millis))
      }
      return { ...attempt, id }
    }),
    failed: (reservation) => settle(reservation, () => "failed"),
    succeeded: (reservation) => settle(reservation, (of) => (of === "account" ? "succeeded" : "withdrawn")),
    withdrawn: (reservation) => settle(reservation, () => "withdrawn")
  }
}
