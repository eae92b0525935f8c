/** The teacher alone, for browsers too. */
export { defineTeacher, teacherName, wordsFile, type TeacherWords } from './definition.js';
export { emojiTeacher, wordVectorsFile } from './plugin.js';
export { wordParameters, wordTransformer, type WordTransformerOptions } from './word-transformer.js';
export { emptyPlace, meaningfulWords, plainWords, vocabularyOf, type Vocabulary } from './words.js';
