/** Metadata as pictures carry it: EXIF and C2PA manifests made by hand. */

/** A TIFF structure with one directory whose only entry is an orientation. */
export function exifOf(orientation: number): Buffer {
  const tiff = Buffer.from('II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0', 'latin1');
  tiff.writeUInt16LE(orientation, 18);
  return tiff;
}

/** The beginning of a C2PA manifest store with a text in it; nothing signs it. */
export function manifestStore(text: string): Buffer {
  const uuid = Buffer.from('6332706100110010800000aa00389b71', 'hex');
  const description = box('jumd', Buffer.concat([uuid, Buffer.from('\x03c2pa\0', 'latin1')]));
  return box('jumb', Buffer.concat([description, box('json', Buffer.from(text))]));
}

function box(type: string, body: Buffer): Buffer {
  const head = Buffer.from(`\0\0\0\0${type}`, 'latin1');
  head.writeUInt32BE(8 + body.length);
  return Buffer.concat([head, body]);
}
