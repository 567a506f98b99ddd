import type { Window } from "@driftlock/core";

/** Zones whose days are not all alike: DST to both sides and by half an hour, a skipped midnight, a skipped day. */
export const zones = [
  "UTC",
  "America/New_York",
  "Europe/Berlin",
  "Asia/Kolkata",
  "Australia/Lord_Howe",
  "America/Santiago",
  "Africa/Cairo",
  "Pacific/Apia",
] as const;

const formats = new Map<string, Intl.DateTimeFormat>();

/** The civil date at an instant, "2026-03-31", as `Intl` tells it. */
function dateAt(at: number, timeZone: string): string {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-CA", { timeZone, year: "numeric", month: "2-digit", day: "2-digit" });
    formats.set(timeZone, format);
  }
  return format.format(at);
}

/** Whether something stamped at `at` counts in the window at `now`. Not for sliding windows. */
export function countsIn(window: Window, at: number, now: number, timeZone: string): boolean {
  switch (window.kind) {
    case "lifetime":
      return true;
    case "sliding":
      throw new Error("a sliding window is no matter of dates");
    case "days": {
      const age = daysBetween(dateAt(at, timeZone), dateAt(now, timeZone));
      return age >= 0 && age < window.days;
    }
    case "calendar":
      return periodOf(window.unit, at, timeZone) === periodOf(window.unit, now, timeZone);
  }
}

function periodOf(unit: "minute" | "hour" | "day" | "week" | "month", at: number, timeZone: string): string {
  switch (unit) {
    case "minute":
      return new Date(at).toISOString().slice(0, 16);
    case "hour":
      return new Date(at).toISOString().slice(0, 13);
    case "day":
      return dateAt(at, timeZone);
    case "week": {
      const date = new Date(`${dateAt(at, timeZone)}T00:00:00Z`);
      while (date.getUTCDay() !== 1) date.setUTCDate(date.getUTCDate() - 1);
      return date.toISOString().slice(0, 10);
    }
    case "month":
      return dateAt(at, timeZone).slice(0, 7);
  }
}

function daysBetween(from: string, to: string): number {
  return (Date.parse(`${to}T00:00:00Z`) - Date.parse(`${from}T00:00:00Z`)) / 86_400_000;
}
