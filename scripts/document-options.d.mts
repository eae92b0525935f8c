/** Declarations with a comment at every option. */
export function documentOptions(text: string, exported: Readonly<Record<string, unknown>>): string;
