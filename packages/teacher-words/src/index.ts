/** Text to image with a vocabulary of words; for browsers too. */
export { defineTeacher, teacherName, wordsFile, type TeacherWords } from './definition.js';
export { wordsPlugin, wordsTeacher, wordVectorsFile } from './plugin.js';
export { wordParameters, wordTransformer, type WordTransformerOptions } from './word-transformer.js';
export { emptyPlace, meaningfulWords, plainWords, vocabularyOf, type Vocabulary } from './words.js';
