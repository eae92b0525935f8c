/** Opcodes that reach outside the file. None of them is ever carried out. */
export const opcodeNames: Readonly<Record<string, string>> = {
  '\x82': 'EXT1',
  '\x83': 'EXT2',
  '\x84': 'EXT4',
  P: 'PERSID',
  S: 'STRING',
  '\x97': 'NEXT_BUFFER',
  '\x98': 'READONLY_BUFFER',
};

/** What each of them asks for, in words. */
export const refusedOpcodes: Readonly<Record<string, string>> = {
  '\x82': 'use an extension',
  '\x83': 'use an extension',
  '\x84': 'use an extension',
  P: 'use a persistent id in text form',
  S: 'evaluate quoted text',
  '\x97': 'use memory outside the file',
  '\x98': 'use memory outside the file',
};
