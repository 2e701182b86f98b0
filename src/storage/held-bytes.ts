/** Memory that several look at, counted once until the last of them is done with it. */

/** Bytes that several look at. */
export interface HeldBytes {
  /** The bytes. */
  readonly bytes: Buffer;
  /** How many hold them. */
  holders(): number;
  /** Holds them until the function it returns is called, once or more often. */
  hold(): () => void;
}

/** Memory that is counted. */
export interface HeldMemory {
  /** How many bytes somebody holds. */
  heldBytes(): number;
  /** Takes memory for so many bytes, which nobody holds yet. What is in it is anything. */
  allocate(bytes: number): HeldBytes;
}

/** Makes a count of memory. */
export function createHeldMemory(): HeldMemory {
  let heldBytes = 0;
  return {
    heldBytes: () => heldBytes,
    allocate(length) {
      let holders = 0;
      function count(change: 1 | -1): void {
        const wasHeld = holders > 0;
        holders += change;
        if (wasHeld !== holders > 0) heldBytes += change * length;
      }
      return {
        bytes: Buffer.allocUnsafeSlow(length),
        holders: () => holders,
        hold() {
          let isHeld = true;
          count(1);
          return () => {
            if (isHeld) count(-1);
            isHeld = false;
          };
        },
      };
    },
  };
}
