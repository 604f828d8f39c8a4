export * from "./Leaderboard.ts"
export * from "./LeaderboardEmbedded.ts"
export * from "./LeaderboardError.ts"
