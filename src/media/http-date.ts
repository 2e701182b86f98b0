/** Dates of RFC 9110, 5.6.7. */

const DAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)';
const LONG_DAY = '(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day';
const MONTH = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)';
const TIME = '\\d{2}:\\d{2}:\\d{2}';

// The one form to send, and the two that old clients still send. The last says no zone and means UTC.
const IMF_FIXDATE = new RegExp(`^${DAY}, \\d{2} ${MONTH} \\d{4} ${TIME} GMT$`);
const RFC_850 = new RegExp(`^${LONG_DAY}, \\d{2}-${MONTH}-\\d{2} ${TIME} GMT$`);
const ASCTIME = new RegExp(`^${DAY} ${MONTH} [ \\d]\\d ${TIME} \\d{4}$`);

/** The instant of an HTTP date in epoch milliseconds, or `undefined` when it is none or there is no such day. */
export function parseHttpDate(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (IMF_FIXDATE.test(value) || RFC_850.test(value)) return instant(value);
  return ASCTIME.test(value) ? instant(`${value} GMT`) : undefined;
}

function instant(value: string): number | undefined {
  const milliseconds = Date.parse(value);
  // A day the month does not have would be taken for one of the next month.
  const day = Number(/\d{1,2}/.exec(value)?.[0]);
  return new Date(milliseconds).getUTCDate() === day ? milliseconds : undefined;
}
