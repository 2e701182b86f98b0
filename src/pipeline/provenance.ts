/** How a picture says that a machine made it. */

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
