/** How a picture says that a machine made it. */
import { crc32 } from 'node:zlib';

/**
 * The XMP packet every finished picture carries: IPTC `DigitalSourceType` says it was made by a trained model, and
 * nothing else is said. Vocabulary: https://cv.iptc.org/newscodes/digitalsourcetype/
 */
export const PROVENANCE_XMP: string = [
  '<?xpacket begin="\uFEFF" id="W5M0MpCehiHzreSzNTczkc9d"?>',
  '<x:xmpmeta xmlns:x="adobe:ns:meta/">',
  '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">',
  '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">',
  '<Iptc4xmpExt:DigitalSourceType>',
  'http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia',
  '</Iptc4xmpExt:DigitalSourceType>',
  '</rdf:Description>',
  '</rdf:RDF>',
  '</x:xmpmeta>',
  '<?xpacket end="w"?>',
].join('');

// Signature and header chunk.
const PNG_HEADER_END = 33;
// Keyword, then: not compressed, no language, no translated keyword (XMP specification part 3, 1.1.5).
const PNG_PACKET = internationalText(`XML:com.adobe.xmp\0\0\0\0\0${PROVENANCE_XMP}`);

/** Puts {@link PROVENANCE_XMP} into a PNG that has no XMP yet, as the uncompressed chunk that readers look for. */
export function markPng(png: Buffer): Buffer {
  return Buffer.concat([png.subarray(0, PNG_HEADER_END), PNG_PACKET, png.subarray(PNG_HEADER_END)]);
}

function internationalText(text: string): Buffer {
  const body = Buffer.from(`iTXt${text}`);
  const chunk = Buffer.alloc(body.length + 8);
  chunk.writeUInt32BE(body.length - 4);
  body.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(body), body.length + 4);
  return chunk;
}
