// Calendar arithmetic on Unix milliseconds, for guests have no clock and no time zones.

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Japan Standard Time, nine hours before UTC all year. */
const JST_OFFSET_MS = 9 * HOUR_MS;
const RFC_3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/** The hour of the day in Japan, 0 to 23. */
export function jstHour(unixMs) {
  return Math.floor((unixMs + JST_OFFSET_MS) / HOUR_MS) % 24;
}

/** The day in Japan as `YYYY-MM-DD`. */
export function jstDay(unixMs) {
  return new Date(unixMs + JST_OFFSET_MS).toISOString().slice(0, 10);
}

/** The midnight in Japan after this moment. */
export function nextJstMidnight(unixMs) {
  return (Math.floor((unixMs + JST_OFFSET_MS) / DAY_MS) + 1) * DAY_MS - JST_OFFSET_MS;
}

/** Unix milliseconds of an RFC 3339 time. Undefined for anything else, for times before 1970 and for leap seconds. */
export function parseRfc3339(text) {
  const parts = RFC_3339.exec(text);
  if (!parts) return undefined;
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map(Number);
  const midnight = Date.UTC(year, month - 1, day);
  const exists = new Date(midnight).toISOString().startsWith(`${parts[1]}-${parts[2]}-${parts[3]}`);
  const [zoneHour, zoneMinute] = [Number(parts[9] ?? 0), Number(parts[10] ?? 0)];
  if (year < 1970 || !exists || hour > 23 || minute > 59 || second > 59 || zoneHour > 23 || zoneMinute > 59) return undefined;
  const offset = (zoneHour * 60 + zoneMinute) * 60_000 * (parts[8] === "-" ? -1 : 1);
  const fraction = Number((parts[7] ?? "").padEnd(3, "0").slice(0, 3));
  const unixMs = midnight + ((hour * 60 + minute) * 60 + second) * 1000 + fraction - offset;
  return unixMs < 0 ? undefined : unixMs;
}
