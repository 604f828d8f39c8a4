import type { Connection, Connectivity } from "../transport.ts"

/** So many lost calls in a row take an instance out. */
const tolerated = 5
/** How long it stays out at first and at most, in milliseconds. */
const [firstTime, longestTime] = [1000, 30_000]

/** Bits that differ between addresses, for consistent hashing: FNV-1a. */
export const hash = (text: string): number => {
  let bits = 0x811c9dc5
  for (let i = 0; i < text.length; i++) bits = Math.imul(bits ^ text.charCodeAt(i), 0x01000193)
  return bits >>> 0
}

/** An endpoint as a pool sees it. Plain fields: it is looked at for every call. */
export class Instance {
  readonly address: string
  readonly connection: Connection
  readonly weight: number
  readonly seed: number
  /** It has a connection. */
  ready: boolean
  /** It had none when it was tried last. */
  isFailing: boolean
  /** Since when it is being connected to, on the pool's clock; nothing when it is not. */
  connectingSince: number | undefined
  /** What its health service says; unknown until it does. */
  serving: boolean | undefined
  /** Calls that have not ended. */
  open = 0
  /** Until when it gets no calls, in milliseconds on the pool's clock; 0 when it is not ejected. */
  ejectedUntil = 0
  /** How often it was ejected. What was lost of a call that began before says nothing new. */
  era = 0
  #lostInARow = 0
  #ejections = 0

  constructor(address: string, weight: number, connection: Connection, serving: boolean | undefined) {
    this.address = address
    this.weight = weight
    this.seed = hash(address)
    this.connection = connection
    this.serving = serving
    const state = connection.connectivity()
    this.ready = state === "ready"
    this.isFailing = state === "failing"
    this.connectingSince = undefined
  }

  /** Its connection is so now. */
  become(state: Connectivity, now: number): void {
    this.ready = state === "ready"
    this.isFailing = state === "failing"
    if (this.ready || this.isFailing) this.connectingSince = undefined
    else if (state === "connecting") this.connectingSince ??= now
  }

  /** Connects, if it is idle. */
  connect(now: number): void {
    if (this.connection.connectivity() !== "idle") return
    this.connectingSince ??= now
    this.connection.connect()
  }

  /** Whether it can be expected to be reached, now or later. */
  get isHopeful(): boolean {
    return this.serving !== false && !this.isFailing
  }

  /** Why it takes no calls, in a word, for people. */
  get why(): string {
    if (this.ready) return "NOT_SERVING"
    return this.connection.tlsFailure?.() ?? this.connection.failure?.() ?? "no connection"
  }

  /** Whether it may be reached in a moment: it is being connected to, and has been for less than `patience`. */
  isComing(now: number, patience: number): boolean {
    return this.isHopeful && this.connectingSince !== undefined && now - this.connectingSince < patience
  }

  /** Whether there is no reason to look for another. */
  isGood(now: number): boolean {
    return this.isAvailable(now) && this.#lostInARow === 0
  }

  /** Whether calls can reach it, leaving aside what became of earlier ones. */
  get reachable(): boolean {
    return this.ready && this.serving === true
  }

  isAvailable(now: number): boolean {
    return this.reachable && (this.ejectedUntil === 0 || now >= this.ejectedUntil)
  }

  /** A call begins. One that was ejected is tried by one call at a time: by the next not before `patience`. */
  begin(now: number, patience: number): void {
    this.open++
    if (this.ejectedUntil !== 0) this.ejectedUntil = now + patience
  }

  answered(): void {
    this.#lostInARow = 0
    this.ejectedUntil = 0
    this.#ejections = 0
  }

  /** A call was lost; gives whether it should be ejected. */
  lost(): boolean {
    return ++this.#lostInARow >= tolerated || this.ejectedUntil !== 0
  }

  /** Takes it out for a while, longer each time until it answers. */
  eject(now: number, jitter: number): void {
    this.ejectedUntil = now + Math.min(longestTime, firstTime * 2 ** this.#ejections) * (0.8 + 0.4 * jitter)
    this.#ejections = Math.min(this.#ejections + 1, 10)
    this.era++
  }
}
