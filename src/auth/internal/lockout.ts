// Counts failed logins of accounts and from addresses. Names are stored as digests: an account's may be an e-mail address.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { hash } from "node:crypto"
import { isIPv4, isIPv6 } from "node:net"
import type { AuthSettings } from "../Auth.ts"
import { AuthError, LockedOut } from "../AuthError.ts"
import type { Attempt, Lockout } from "../Lockout.ts"
import type { Store } from "./store.ts"

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

/** The groups of an IPv6 address, of which `::` leaves some out. */
const groupsOf = (address: string): ReadonlyArray<string> => {
  const [head = "", tail] = address.split("::")
  const before = head === "" ? [] : head.split(":")
  const after = tail === undefined || tail === "" ? [] : tail.split(":")
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => "0")
  return [...before, ...(tail === undefined ? [] : zeros), ...after]
}

/** What of an address counts: whoever has an IPv6 address has all of its /64. */
export const networkOf = (address: string): string => {
  const bare = address.replace(/%.*$/, "").toLowerCase()
  const mapped = /^::ffff:([\d.]+)$/.exec(bare)?.[1]
  if (mapped !== undefined && isIPv4(mapped)) return mapped
  if (!isIPv6(bare)) return bare
  return groupsOf(bare)
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")
}

const nameOf = (of: Name["of"], text: string): Name => ({ of, digest: hash("sha256", text, "base64url") })

/** The service on a store. A limit of 0 asks nobody. */
export const make = (store: Store, settings: AuthSettings): Lockout["Service"] => {
  const limits = limitsOf(settings)
  const namesOf = ({ account, address }: Attempt): ReadonlyArray<Name> =>
    [nameOf("account", account), nameOf("address", networkOf(address))].filter(({ of }) => limits[of].most > 0)

  return {
    check: (attempt) => {
      const names = namesOf(attempt)
      if (names.length === 0) return Effect.void
      return Effect.flatMap(store.standings(names), (standings) => {
        const locked = names
          .map(({ of }, index) => ({ of, ...standings[index]! }))
          .filter(({ isLocked }) => isLocked)
          .toSorted((one, other) => other.lockedMillis - one.lockedMillis)[0]
        return locked === undefined
          ? Effect.void
          : Effect.fail(
              new AuthError({ reason: new LockedOut({ of: locked.of, retryAfterMillis: locked.lockedMillis }) })
            )
      })
    },
    failed: (attempt) => {
      const names = namesOf(attempt)
      return names.length === 0 ? Effect.void : store.countFailure(names)
    },
    succeeded: ({ account }) =>
      limits.account.most === 0 ? Effect.void : store.forgetFailures(nameOf("account", account))
  }
}
