/** What gateways are told. */

/** Settings of every gateway. */
export interface GatewaySettings {
  /** Origin of the upstream. */
  readonly upstream: string;
  /** A folder of its own, where pictures may be stored. */
  readonly folder: string;
}

/** Settings of ours. */
export interface OurSettings extends GatewaySettings {
  /** How pictures are verified. */
  readonly verify: 'container' | 'decode';
  /** How many providers offer the same models, and each but the first one of its own. @defaultValue `1` */
  readonly providers?: number | undefined;
}

/** The API key of every request. */
export const API_KEY = 'benchmark-key';

/** Settings of servers of files. */
export interface FolderSettings {
  /** What they serve. */
  readonly folder: string;
}
