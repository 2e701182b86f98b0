/** What every server of the benchmark is told: its port, and settings as JSON. */

const [, , port = '0', settings = '{}'] = process.argv;

/** Where to listen. */
export const PORT: number = Number(port);

/** Reads the settings. */
export function readSettings<Settings>(): Settings {
  return JSON.parse(settings);
}
