import type { CalendarUnit } from "../domain/claim.js";

const DAY_MS = 86_400_000;
/** No zone's local day begins or ends further from its UTC day than this. */
const REACH_MS = 36 * 3_600_000;

/** Local days of one time zone as day numbers: days since 1970-01-01 of the civil date. */
export interface Calendar {
  readonly timeZone: string;
  /** The local day at an instant (ms). */
  dayAt(at: number): number;
  /** The first instant (ms) whose local day is `day` or later: midnight, or after it where midnight is skipped. */
  startOf(day: number): number;
}

const calendars = new Map<string, Calendar>();

export function isTimeZone(timeZone: unknown): timeZone is string {
  if (typeof timeZone !== "string" || timeZone === "") return false;
  try {
    return calendarOf(timeZone) !== undefined;
  } catch {
    return false;
  }
}

/** The calendar of an IANA zone. Throws RangeError for a name `Intl` does not know. */
export function calendarOf(timeZone: string): Calendar {
  let calendar = calendars.get(timeZone);
  if (calendar === undefined) {
    calendar = timeZone === "UTC" ? utc : new ZonedCalendar(timeZone);
    calendars.set(timeZone, calendar);
  }
  return calendar;
}

const utc: Calendar = {
  timeZone: "UTC",
  dayAt: (at) => Math.floor(at / DAY_MS),
  startOf: (day) => day * DAY_MS,
};

class ZonedCalendar implements Calendar {
  readonly timeZone: string;
  readonly #format: Intl.DateTimeFormat;
  readonly #starts = new Map<number, number>();
  // The day last asked for, as [start, end): almost every question is about today.
  #start = Infinity;
  #end = -Infinity;
  #day = 0;

  constructor(timeZone: string) {
    this.timeZone = timeZone;
    this.#format = new Intl.DateTimeFormat("en-US", {
      timeZone,
      era: "short",
      year: "numeric",
      month: "numeric",
      day: "numeric",
    });
  }

  dayAt(at: number): number {
    if (at >= this.#start && at < this.#end) return this.#day;
    const day = this.#civilDay(at);
    this.#start = this.startOf(day);
    this.#end = this.startOf(day + 1);
    this.#day = day;
    return day;
  }

  startOf(day: number): number {
    let start = this.#starts.get(day);
    if (start === undefined) {
      if (this.#starts.size > 500) this.#starts.clear();
      start = this.#bisect(day);
      this.#starts.set(day, start);
    }
    return start;
  }

  /** Local days never run backwards, so the first instant of a day can be bisected. */
  #bisect(day: number): number {
    let before = day * DAY_MS - REACH_MS;
    let from = day * DAY_MS + REACH_MS;
    while (from - before > 1) {
      const middle = Math.floor((before + from) / 2);
      if (this.#civilDay(middle) >= day) from = middle;
      else before = middle;
    }
    return from;
  }

  #civilDay(at: number): number {
    let year = 0;
    let month = 0;
    let day = 0;
    let beforeChrist = false;
    for (const part of this.#format.formatToParts(at)) {
      if (part.type === "year") year = Number(part.value);
      else if (part.type === "month") month = Number(part.value);
      else if (part.type === "day") day = Number(part.value);
      else if (part.type === "era") beforeChrist = part.value.startsWith("B");
    }
    return dayOfDate(beforeChrist ? 1 - year : year, month, day);
  }
}

function dayOfDate(year: number, month: number, day: number): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  return date.getTime() / DAY_MS;
}

type DayUnit = Exclude<CalendarUnit, "minute" | "hour">;

/** The month last asked for: every claim on a month asks for this one. */
let month = { first: 0, last: -1 };

/** The first day of the day, week (Monday) or month that holds `day`. */
export function firstDayOf(unit: DayUnit, day: number): number {
  switch (unit) {
    case "day":
      return day;
    case "week":
      return day - ((((day + 3) % 7) + 7) % 7);
    case "month":
      if (!(day >= month.first && day <= month.last)) month = monthOf(day);
      return month.first;
  }
}

function monthOf(day: number): typeof month {
  const date = new Date(day * DAY_MS);
  const first = day - date.getUTCDate() + 1;
  date.setUTCMonth(date.getUTCMonth() + 1, 1);
  return { first, last: date.getTime() / DAY_MS - 1 };
}

/** The first day of the next day, week or month. */
export function nextFirstDayOf(unit: DayUnit, day: number): number {
  switch (unit) {
    case "day":
      return day + 1;
    case "week":
      return firstDayOf("week", day) + 7;
    case "month":
      return monthOf(day).last + 1;
  }
}
