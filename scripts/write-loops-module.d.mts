/** Text of the module that holds the compiled program. @throws Error if it does not compile */
export function loopsModule(): Promise<string>;
