/** From Google's many ways to withhold a picture to one: a reason in a word or two, and what was refused. */
import type { BlockedEvent } from '../core/provider.js';

/** Why a picture is withheld. */
export type Refusal = Pick<BlockedEvent, 'reason' | 'stage'>;

type SupportCodes = Readonly<Record<Refusal['stage'], Readonly<Record<string, readonly string[]>>>>;

/** Google's codes of Imagen's filters, by what was refused and category. */
const SUPPORT_CODES: SupportCodes = {
  input: {
    child: ['58061214'],
    celebrity: ['29310472'],
    'dangerous content': ['62263041'],
    hate: ['57734940'],
    other: ['42876398'],
    'personal data': ['92201652'],
    'prohibited content': ['89371032'],
    sexual: ['90789179'],
    toxic: ['78610348'],
  },
  output: {
    child: ['17301594'],
    celebrity: ['15236754'],
    hate: ['22137204'],
    other: ['29578790', '74803281'],
    people: ['39322892'],
    'prohibited content': ['49114662', '72817394'],
    sexual: ['63429089', '43188360'],
  },
  // Listed without saying which of them is for prompts.
  unknown: { violence: ['61493863', '56562880'] },
};

const BY_SUPPORT_CODE: ReadonlyMap<string, Refusal> = new Map(
  (Object.keys(SUPPORT_CODES) as Refusal['stage'][]).flatMap((stage) =>
    Object.entries(SUPPORT_CODES[stage]).flatMap(([reason, codes]) =>
      codes.map((code) => [code, { reason, stage }] as const),
    ),
  ),
);

/** The refusal a text of Google's names by a support code; `undefined` when it names none that is known. */
export function refusalIn(text: string): Refusal | undefined {
  for (const [code] of text.matchAll(/\b\d{8}\b/g)) {
    const refusal = BY_SUPPORT_CODE.get(code);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** The meaning of a `raiFilteredReason`. */
export function raiRefusal(text: string): Refusal {
  return refusalIn(text) ?? { reason: 'safety', stage: 'unknown' };
}

/**
 * Enum values of Google arrive over REST as numbers, and over gRPC as names where the SDK knows them. Majors 6 and 7
 * know no finish reason beyond 10; the names of the others are those of the Python SDK's newer `content.proto`.
 */
function byNameAndNumber(rows: readonly (readonly [name: string, number: number, reason: string])[]) {
  return new Map<unknown, string>(
    rows.flatMap(([name, number, reason]) => [[name, reason] as const, [number, reason] as const]),
  );
}

const FINISH_REASONS = byNameAndNumber([
  ['SAFETY', 3, 'safety'],
  ['RECITATION', 4, 'recitation'],
  ['OTHER', 5, 'other'],
  ['BLOCKLIST', 6, 'blocklist'],
  ['PROHIBITED_CONTENT', 7, 'prohibited content'],
  ['SPII', 8, 'personal data'],
  ['MODEL_ARMOR', 10, 'model armor'],
  ['IMAGE_SAFETY', 11, 'safety'],
  ['IMAGE_PROHIBITED_CONTENT', 12, 'prohibited content'],
  ['IMAGE_RECITATION', 13, 'recitation'],
  ['IMAGE_OTHER', 14, 'other'],
  ['NO_IMAGE', 16, 'no picture'],
]);

const BLOCK_REASONS = byNameAndNumber([
  ['SAFETY', 1, 'safety'],
  ['OTHER', 2, 'other'],
  ['BLOCKLIST', 3, 'blocklist'],
  ['PROHIBITED_CONTENT', 4, 'prohibited content'],
  ['MODEL_ARMOR', 5, 'model armor'],
  ['JAILBREAK', 6, 'jailbreak'],
]);

/**
 * Neither is a refusal: the model stopped as it should, and wrote an excuse instead of drawing; or nothing is said,
 * which ProtoJSON leaves out.
 */
const UNSAID: ReadonlySet<unknown> = new Set(['STOP', 1, 'FINISH_REASON_UNSPECIFIED', 0, undefined, null]);

/** The meaning of a finish reason of an answer without a picture; `undefined` when it is no matter of safety. */
export function finishRefusal(finishReason: unknown): Refusal | undefined {
  const reason = FINISH_REASONS.get(finishReason);
  if (reason !== undefined) return { reason, stage: 'output' };
  return UNSAID.has(finishReason) ? { reason: 'no picture', stage: 'unknown' } : undefined;
}

/** The meaning of a block reason, which is always about the prompt; one nobody knows is taken for safety. */
export function promptRefusal(blockReason: unknown): Refusal {
  return { reason: BLOCK_REASONS.get(blockReason) ?? 'safety', stage: 'input' };
}
