/**
 * Names of pictures: the id people keep, the storage key it is kept under, the file of its URL. Each follows from
 * the one before, so nothing has to be looked up, and a tenant, a day and a picture are prefixes of keys.
 */
import { hash, randomBytes } from 'node:crypto';
import type { ImageContentType } from '../core/image.js';

/** A picture's id taken apart. */
export interface PictureId {
  /** The whole id, `img_<yyyymmdd>_<tag>_<128 random bits>`. */
  readonly id: string;
  /** The UTC day it was made on, `yyyymmdd`. */
  readonly day: string;
  /** Whose it is: the tenant's {@link tenantTag}. */
  readonly tag: string;
}

/** The file of a picture's URL taken apart. */
export interface MediaFile {
  /** The picture's id. */
  readonly id: string;
  /** The type its extension stands for. */
  readonly contentType: ImageContentType;
}

const ID = /^img_(?<day>\d{8})_(?<tag>[0-9a-f]{32})_[0-9a-f]{32}$/;
const ID_LENGTH = 'img_'.length + 8 + 1 + 32 + 1 + 32;
const VARIANT = /^[a-z0-9][a-z0-9_-]{0,63}$/;

const EXTENSIONS = {
  'image/png': 'png',
  'image/jpeg': 'jpg',
  'image/webp': 'webp',
  'image/avif': 'avif',
} as const satisfies Record<ImageContentType, string>;

const CONTENT_TYPES: ReadonlyMap<string, ImageContentType> = new Map(
  Object.entries(EXTENSIONS).map(([contentType, extension]) => [extension, contentType as ImageContentType]),
);

/** A tenant as it stands in ids and keys: 32 hex digits that do not give its name away. */
export function tenantTag(tenant: string): string {
  return hash('sha256', tenant).slice(0, 32);
}

/** Makes the id of a picture of `tenant`, made at `now` (epoch milliseconds). No two are alike. */
export function createPictureId(tenant: string, now: number): string {
  const day = new Date(now).toISOString().slice(0, 10).replaceAll('-', '');
  return `img_${day}_${tenantTag(tenant)}_${randomBytes(16).toString('hex')}`;
}

/** Takes an id apart, or answers `undefined` when it is none. Only the canonical spelling is one. */
export function parsePictureId(id: string): PictureId | undefined {
  if (id.length !== ID_LENGTH) return undefined;
  const { day, tag } = ID.exec(id)?.groups ?? {};
  return day === undefined || tag === undefined || !isCalendarDay(day) ? undefined : { id, day, tag };
}

/** The prefix of all keys of a tenant. */
export function tenantPrefix(tenant: string): string {
  return `${tenantTag(tenant)}/`;
}

/** The prefix of all keys of a picture: the original and its variants. Throws `TypeError` for what is no id. */
export function picturePrefix(id: string): string {
  const parsed = parsePictureId(id);
  if (parsed === undefined) throw new TypeError('not a picture id');
  const { day, tag } = parsed;
  return `${tag}/${day.slice(0, 4)}/${day.slice(4, 6)}/${day.slice(6)}/${id}/`;
}

/** The storage key of a picture or of a variant of it. Throws `TypeError` for what is no id or no variant's name. */
export function pictureKey(id: string, variant = 'original'): string {
  if (!VARIANT.test(variant)) throw new TypeError('not the name of a variant');
  return picturePrefix(id) + variant;
}

/** The id of the picture a storage key belongs to, or `undefined` when it is none of ours. */
export function pictureOf(key: string): string | undefined {
  const id = key.split('/').at(-2) ?? '';
  return parsePictureId(id) !== undefined && key.startsWith(picturePrefix(id)) ? id : undefined;
}

/** The file of a picture's URL. */
export function mediaFile(id: string, contentType: ImageContentType): string {
  return `${id}.${EXTENSIONS[contentType]}`;
}

/** Takes the file of a URL apart, or answers `undefined` when it cannot be one of ours. */
export function parseMediaFile(file: string): MediaFile | undefined {
  const id = file.slice(0, ID_LENGTH);
  const contentType = CONTENT_TYPES.get(file.slice(ID_LENGTH + 1));
  if (contentType === undefined || file[ID_LENGTH] !== '.' || parsePictureId(id) === undefined)
    return undefined;
  return { id, contentType };
}

function isCalendarDay(day: string): boolean {
  const [year, month, date] = [Number(day.slice(0, 4)), Number(day.slice(4, 6)) - 1, Number(day.slice(6))];
  const instant = new Date(Date.UTC(year, month, date));
  return (
    instant.getUTCFullYear() === year && instant.getUTCMonth() === month && instant.getUTCDate() === date
  );
}

/** True for a media type a picture of ours can have. */
export function isPictureType(contentType: string): contentType is ImageContentType {
  return Object.hasOwn(EXTENSIONS, contentType);
}
