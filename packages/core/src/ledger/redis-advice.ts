/** What an operator should know of a server's settings, read off its INFO. */
export function adviceOn(info: string): readonly string[] {
  const advice: string[] = [];
  if (setting(info, "aof_enabled") === "0") {
    advice.push(
      "Redis keeps no append-only file: what was spent since its last snapshot is lost when it stops. Set appendonly yes " +
        "(appendfsync everysec can lose the last second, always loses nothing).",
    );
  }
  const policy = setting(info, "maxmemory_policy");
  if (policy !== undefined && policy !== "noeviction") {
    advice.push(
      `Redis evicts records when its memory is full (maxmemory-policy ${policy}): a budget can silently start again from zero. ` +
        "Set maxmemory-policy noeviction.",
    );
  }
  return advice;
}

function setting(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
}
